(set-logic QF_NRA)
(declare-fun x6 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x8 () Real)
(declare-fun x9 () Real)
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
 (let ((?x57 (+ (* (- 1.0) x2 x2 x3) (* (- 1.0) x3 x3 x6) (* 2.0 x2 x3 x8))))
 (let (($x63 (and (<= 0.0 ?x57) (< 0.0 (+ (* (- 1.0) x2 x2) (* x3 x6))))))
 (let ((?x49 (* x3 x3 x6)))
 (let ((?x48 (* x2 x2 x3)))
 (let (($x53 (and (<= 0.0 (+ (* x2 x2) (* (- 1.0) x3 x6))) (and (distinct 0.0 (+ ?x48 ?x49 (* (- 2.0) x2 x3 x8))) true))))
 (let ((?x25 (* x2 x2 x2 x2 x3)))
 (let ((?x41 (+ ?x25 (* 2.0 x2 x2 x3 x3 x6) (* (- 1.0) x2 x2 x2 x7 x7) (* (- 2.0) x2 x3 x6 x7 x7) (* (- 4.0) x2 x2 x2 x3 x8) (* (- 2.0) x2 x3 x3 x6 x8) (* 2.0 x2 x2 x7 x7 x8) (* 3.0 x2 x2 x3 x8 x8) (* 2.0 x2 x2 x3 x7 x9) (* 2.0 x3 x3 x6 x7 x9) (* (- 2.0) x2 x3 x7 x8 x9) (* (- 1.0) x2 x3 x3 x9 x9))))
 (let ((?x14 (* x3 x4 x4)))
 (let ((?x23 (+ (* (- 1.0) x1 x1 x2) (* x0 x2 x2) ?x14 (* (- 2.0) x2 x4 x5) (* (- 1.0) x0 x3 x6) (* 2.0 x1 x4 x7))))
 (or (< 0.0 ?x23) (and (distinct 0.0 ?x41) true) (< 0.0 (+ (* x2 x2) (* (- 1.0) x3 x6))) (or $x53 $x63))))))))))))
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
 (let ((?x93 (* (- 1.0) x2 x3 x14)))
 (let ((?x91 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x89 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x89 ?x91 ?x93))))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x0 x6))))
(assert
 (<= 0.0 (+ (* (- 1.0) x1 x1) (* x0 x2))))
(assert
 (let ((?x107 (* (- 1.0) x0 x2 x14)))
 (let ((?x106 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x104 (* x0 x2 x13 x13)))
 (<= 0.0 (+ ?x104 ?x106 ?x107))))))
(assert
 (<= 0.0 (+ (* x2 x6) (* (- 1.0) x9 x9))))
(assert
 (let ((?x117 (* (- 1.0) x2 x6 x14)))
 (let ((?x116 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x114 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x114 ?x116 ?x117))))))
(assert
 (<= 0.0 (+ (* x13 x13) (* (- 1.0) x14))))
(assert
 (let ((?x125 (* x0 x3 x6)))
 (let ((?x129 (+ (* (- 1.0) x3 x4 x4) ?x125 (* (- 1.0) x5 x5 x6) (* 2.0 x4 x5 x8) (* (- 1.0) x0 x8 x8))))
 (<= 0.0 ?x129))))
(assert
 (let ((?x136 (+ (* (- 1.0) x1 x1 x3) (* x0 x2 x3) (* (- 1.0) x2 x5 x5) (* 2.0 x1 x5 x7) (* (- 1.0) x0 x7 x7))))
 (<= 0.0 ?x136)))
(assert
 (let ((?x144 (* x2 x5 x5 x14)))
 (let ((?x145 (+ (* x0 x2 x3 x13 x13) (* (- 1.0) x2 x5 x5 x13 x13) (* (- 1.0) x0 x10 x10 x13 x13) (* 2.0 x5 x10 x11 x13 x13) (* (- 1.0) x3 x11 x11 x13 x13) (* (- 1.0) x0 x2 x3 x14) ?x144)))
 (<= 0.0 ?x145))))
(assert
 (let ((?x147 (* x2 x3 x6)))
 (let ((?x152 (+ ?x147 (* (- 1.0) x6 x7 x7) (* (- 1.0) x2 x8 x8) (* 2.0 x7 x8 x9) (* (- 1.0) x3 x9 x9))))
 (<= 0.0 ?x152))))
(assert
 (let ((?x160 (* x2 x8 x8 x14)))
 (let ((?x154 (* x2 x3 x6 x13 x13)))
 (let ((?x161 (+ ?x154 (* (- 1.0) x2 x8 x8 x13 x13) (* (- 1.0) x6 x10 x10 x13 x13) (* 2.0 x8 x10 x12 x13 x13) (* (- 1.0) x3 x12 x12 x13 x13) (* (- 1.0) x2 x3 x6 x14) ?x160)))
 (<= 0.0 ?x161)))))
(assert
 (let ((?x164 (* x7 x7 x14)))
 (let ((?x93 (* (- 1.0) x2 x3 x14)))
 (let ((?x91 (* (- 1.0) x10 x10 x13 x13)))
 (let ((?x89 (* x2 x3 x13 x13)))
 (<= 0.0 (+ ?x89 (* (- 1.0) x7 x7 x13 x13) ?x91 ?x93 ?x164)))))))
(assert
 (let ((?x172 (+ (* (- 1.0) x2 x4 x4) (* (- 1.0) x1 x1 x6) (* x0 x2 x6) (* 2.0 x1 x4 x9) (* (- 1.0) x0 x9 x9))))
 (<= 0.0 ?x172)))
(assert
 (let ((?x179 (* x2 x4 x4 x14)))
 (let ((?x181 (+ (* (- 1.0) x2 x4 x4 x13 x13) (* x0 x2 x6 x13 x13) (* (- 1.0) x6 x11 x11 x13 x13) (* 2.0 x4 x11 x12 x13 x13) (* (- 1.0) x0 x12 x12 x13 x13) ?x179 (* (- 1.0) x0 x2 x6 x14))))
 (<= 0.0 ?x181))))
(assert
 (let ((?x107 (* (- 1.0) x0 x2 x14)))
 (let ((?x184 (* x1 x1 x14)))
 (let ((?x106 (* (- 1.0) x11 x11 x13 x13)))
 (let ((?x104 (* x0 x2 x13 x13)))
 (<= 0.0 (+ (* (- 1.0) x1 x1 x13 x13) ?x104 ?x106 ?x184 ?x107)))))))
(assert
 (let ((?x188 (* x9 x9 x14)))
 (let ((?x117 (* (- 1.0) x2 x6 x14)))
 (let ((?x116 (* (- 1.0) x12 x12 x13 x13)))
 (let ((?x114 (* x2 x6 x13 x13)))
 (<= 0.0 (+ ?x114 (* (- 1.0) x9 x9 x13 x13) ?x116 ?x117 ?x188)))))))
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
