(set-logic QF_NRA)
(declare-fun x6 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x9 () Real)
(declare-fun x8 () Real)
(declare-fun x7 () Real)
(declare-fun x4 () Real)
(declare-fun x1 () Real)
(declare-fun x0 () Real)
(declare-fun x5 () Real)
(declare-fun x14 () Real)
(declare-fun x13 () Real)
(declare-fun x10 () Real)
(declare-fun x11 () Real)
(declare-fun x12 () Real)
(assert
 (let ((?x264 (* x2 x2 x2 x2 x3)))
 (let ((?x424 (+ ?x264 (* 2.0 x2 x2 x3 x3 x6) (* (- 1.0) x2 x2 x2 x7 x7) (* (- 2.0) x2 x3 x6 x7 x7) (* (- 4.0) x2 x2 x2 x3 x8) (* (- 2.0) x2 x3 x3 x6 x8) (* 2.0 x2 x2 x7 x7 x8) (* 3.0 x2 x2 x3 x8 x8) (* 2.0 x2 x2 x3 x7 x9) (* 2.0 x3 x3 x6 x7 x9) (* (- 2.0) x2 x3 x7 x8 x9) (* (- 1.0) x2 x3 x3 x9 x9))))
 (let ((?x112 (* x2 x2 x2 x7 x7)))
 (let ((?x64 (+ (* (- 1.0) x2 x2 x2 x2 x3) (* (- 2.0) x2 x2 x3 x3 x6) ?x112 (* 2.0 x2 x3 x6 x7 x7) (* 4.0 x2 x2 x2 x3 x8) (* 2.0 x2 x3 x3 x6 x8) (* (- 2.0) x2 x2 x7 x7 x8) (* (- 3.0) x2 x2 x3 x8 x8) (* (- 2.0) x2 x2 x3 x7 x9) (* (- 2.0) x3 x3 x6 x7 x9) (* 2.0 x2 x3 x7 x8 x9) (* x2 x3 x3 x9 x9))))
 (let ((?x369 (+ (* (- 1.0) x1 x1 x2) (* x0 x2 x2) (* x3 x4 x4) (* (- 2.0) x2 x4 x5) (* (- 1.0) x0 x3 x6) (* 2.0 x1 x4 x7))))
 (or (< 0.0 ?x369) (or (< 0.0 ?x64) (< 0.0 ?x424)) (< 0.0 (+ (* x2 x2) (* (- 1.0) x3 x6))))))))))
(assert
 (and (= 0.0 (* (- 1.0) x9)) (= 0.0 (* (- 1.0) x7)) (= 0.0 (+ x2 (* (- 1.0) x8)))))
(assert
 (<= 0.0 (+ x2 (- 3.0))))
(assert
 (<= 0.0 (+ (* x0 x3) (* (- 1.0) x5 x5))))
(assert
 (<= 0.0 (+ (* x3 x6) (* (- 1.0) x8 x8))))
(assert
 (<= 0.0 (+ (* x2 x3) (* (- 1.0) x7 x7))))
(assert
 (let ((?x426 (* (- 1.0) x2 x3 x14)))
 (let ((?x379 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x411 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x411 ?x379 ?x426))))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x0 x6))))
(assert
 (<= 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2))))
(assert
 (let ((?x89 (* (- 1.0) x0 x2 x14)))
 (let ((?x179 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x152 (* x0 x2 x13 x13)))
 (<= 0.0 (+ ?x152 ?x179 ?x89))))))
(assert
 (<= 0.0 (+ (* x2 x6) (* (- 1.0) x9 x9))))
(assert
 (let ((?x290 (* (- 1.0) x2 x6 x14)))
 (let ((?x180 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x122 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x122 ?x180 ?x290))))))
(assert
 (<= 0.0 (+ (* x13 x13) (* (- 1.0) x14))))
(assert
 (let ((?x149 (+ (* (- 1.0) x3 x4 x4) (* x0 x3 x6) (* (- 1.0) x5 x5 x6) (* 2.0 x4 x5 x8) (* (- 1.0) x0 x8 x8))))
 (<= 0.0 ?x149)))
(assert
 (let ((?x143 (+ (* (- 1.0) x1 x1 x3) (* x0 x2 x3) (* (- 1.0) x2 x5 x5) (* 2.0 x1 x5 x7) (* (- 1.0) x0 x7 x7))))
 (<= 0.0 ?x143)))
(assert
 (let ((?x101 (+ (* x0 x2 x3 x13 x13) (* (- 1.0) x2 x5 x5 x13 x13) (* (- 1.0) x0 x10 x10 x13 x13) (* 2.0 x5 x10 x11 x13 x13) (* (- 1.0) x3 x11 x11 x13 x13) (* (- 1.0) x0 x2 x3 x14) (* x2 x5 x5 x14))))
 (<= 0.0 ?x101)))
(assert
 (let ((?x232 (+ (* x2 x3 x6) (* (- 1.0) x6 x7 x7) (* (- 1.0) x2 x8 x8) (* 2.0 x7 x8 x9) (* (- 1.0) x3 x9 x9))))
 (<= 0.0 ?x232)))
(assert
 (let ((?x253 (* x2 x8 x8 x14)))
 (let ((?x118 (+ (* x2 x3 x6 x13 x13) (* (- 1.0) x2 x8 x8 x13 x13) (* (- 1.0) x6 x10 x10 x13 x13) (* 2.0 x8 x10 x12 x13 x13) (* (- 1.0) x3 x12 x12 x13 x13) (* (- 1.0) x2 x3 x6 x14) ?x253)))
 (<= 0.0 ?x118))))
(assert
 (let ((?x286 (* x7 x7 x14)))
 (let ((?x426 (* (- 1.0) x2 x3 x14)))
 (let ((?x379 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x411 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x411 (* (- 1.0) x7 x7 x13 x13) ?x379 ?x426 ?x286)))))))
(assert
 (let ((?x167 (+ (* (- 1.0) x2 x4 x4) (* (- 1.0) x1 x1 x6) (* x0 x2 x6) (* 2.0 x1 x4 x9) (* (- 1.0) x0 x9 x9))))
 (<= 0.0 ?x167)))
(assert
 (let ((?x204 (* x2 x4 x4 x14)))
 (let ((?x82 (+ (* (- 1.0) x2 x4 x4 x13 x13) (* x0 x2 x6 x13 x13) (* (- 1.0) x6 x11 x11 x13 x13) (* 2.0 x4 x11 x12 x13 x13) (* (- 1.0) x0 x12 x12 x13 x13) ?x204 (* (- 1.0) x0 x2 x6 x14))))
 (<= 0.0 ?x82))))
(assert
 (let ((?x89 (* (- 1.0) x0 x2 x14)))
 (let ((?x55 (* x1 x1 x14)))
 (let ((?x179 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x152 (* x0 x2 x13 x13)))
 (<= 0.0 (+ (* (- 1.0) x1 x1 x13 x13) ?x152 ?x179 ?x55 ?x89)))))))
(assert
 (let ((?x248 (* x9 x9 x14)))
 (let ((?x290 (* (- 1.0) x2 x6 x14)))
 (let ((?x180 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x122 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x122 (* (- 1.0) x9 x9 x13 x13) ?x180 ?x290 ?x248)))))))
(assert
 (<= 0.0 (+ (* x13 x13) (* (- 1.0) x14))))
(assert
 (<= 0.0 x0))
(assert
 (< 0.0 x2))
(assert
 (<= 0.0 x3))
(assert
 (<= 0.0 x6))
(assert
 (< 0.0 x13))
(assert
 (<= 0.0 x14))
(check-sat)
