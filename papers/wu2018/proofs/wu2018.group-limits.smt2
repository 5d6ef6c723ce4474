(set-logic QF_NRA)
(declare-fun x9 () Real)
(declare-fun x3 () Real)
(declare-fun x2 () Real)
(declare-fun x1 () Real)
(declare-fun x5 () Real)
(declare-fun x4 () Real)
(declare-fun x10 () Real)
(declare-fun x7 () Real)
(declare-fun x8 () Real)
(declare-fun x6 () Real)
(declare-fun x0 () Real)
(assert
 (let (($x97 (or false false)))
 (let ((?x114 (* (- 1.0) x4 x4)))
 (let ((?x687 (* (- 1.0) x6 x6 x7 x7)))
 (let ((?x823 (+ (* (- 1.0) x0 x0 x2 x2) (* 2.0 x0 x0 x1 x3) (* 2.0 x0 x1 x6 x7) (* (- 2.0) x0 x2 x6 x7) (* 2.0 x1 x2 x7 x7) (* (- 4.0) x2 x2 x7 x7) (* (- 2.0) x1 x3 x7 x7) (* 8.0 x2 x3 x7 x7) (* (- 4.0) x3 x3 x7 x7) ?x687 (* 2.0 x0 x2 x4) (* (- 4.0) x0 x3 x4) (* (- 4.0) x0 x1 x5) (* 4.0 x0 x2 x5) (* (- 2.0) x4 x6 x7) (* 4.0 x5 x6 x7) (* (- 2.0) x1 x2 x8) (* 4.0 x2 x2 x8) (* 2.0 x1 x3 x8) (* (- 8.0) x2 x3 x8) (* 4.0 x3 x3 x8) (* (- 2.0) x1 x7 x10) (* 4.0 x2 x7 x10) (* (- 4.0) x3 x7 x10) ?x114 (* 4.0 x4 x5) (* (- 4.0) x5 x5) (* 2.0 x1 x9) (* (- 4.0) x2 x9) (* 4.0 x3 x9))))
 (let ((?x693 (* x4 x4)))
 (let ((?x1043 (* x0 x0 x2 x2)))
 (let ((?x533 (+ ?x1043 (* (- 2.0) x0 x0 x1 x3) (* (- 2.0) x0 x1 x6 x7) (* 2.0 x0 x2 x6 x7) (* (- 2.0) x1 x2 x7 x7) (* 4.0 x2 x2 x7 x7) (* 2.0 x1 x3 x7 x7) (* (- 8.0) x2 x3 x7 x7) (* 4.0 x3 x3 x7 x7) (* x6 x6 x7 x7) (* (- 2.0) x0 x2 x4) (* 4.0 x0 x3 x4) (* 4.0 x0 x1 x5) (* (- 4.0) x0 x2 x5) (* 2.0 x4 x6 x7) (* (- 4.0) x5 x6 x7) (* 2.0 x1 x2 x8) (* (- 4.0) x2 x2 x8) (* (- 2.0) x1 x3 x8) (* 8.0 x2 x3 x8) (* (- 4.0) x3 x3 x8) (* 2.0 x1 x7 x10) (* (- 4.0) x2 x7 x10) (* 4.0 x3 x7 x10) ?x693 (* (- 4.0) x4 x5) (* 4.0 x5 x5) (* (- 2.0) x1 x9) (* 4.0 x2 x9) (* (- 4.0) x3 x9))))
 (let ((?x780 (+ (* x0 x1 x2) (* (- 2.0) x0 x2 x2) (* (- 2.0) x0 x1 x3) (* 6.0 x0 x2 x3) (* (- 4.0) x0 x3 x3) (* (- 1.0) x1 x6 x7) (* 2.0 x2 x6 x7) (* (- 2.0) x3 x6 x7) (* (- 1.0) x1 x4) (* 2.0 x2 x4) (* (- 2.0) x3 x4) (* 2.0 x1 x5) (* (- 4.0) x2 x5) (* 4.0 x3 x5))))
 (let ((?x1109 (+ (* (- 1.0) x0 x1 x2) (* 2.0 x0 x2 x2) (* 2.0 x0 x1 x3) (* (- 6.0) x0 x2 x3) (* 4.0 x0 x3 x3) (* x1 x6 x7) (* (- 2.0) x2 x6 x7) (* 2.0 x3 x6 x7) (* x1 x4) (* (- 2.0) x2 x4) (* 2.0 x3 x4) (* (- 2.0) x1 x5) (* 4.0 x2 x5) (* (- 4.0) x3 x5))))
 (or (or (< 0.0 ?x1109) (< 0.0 ?x780)) (or (< 0.0 ?x533) (< 0.0 ?x823)) $x97 $x97)))))))))))
(assert
 (and (= 0.0 (+ (* (- 1.0) x2) x3)) (= 0.0 (+ (* (- 1.0) x4) x5)) (= 0.0 (+ (* (- 1.0) x0 x2) (* (- 1.0) x6 x7) x5)) (= 0.0 (+ (* (- 1.0) x0 x4) (* (- 1.0) x7 x10) x9)) (< 0.0 x3) (< 0.0 (+ x1 (* (- 2.0) x2) x3))))
(assert
 (<= 0.0 (+ x1 (- 2.0))))
(assert
 (<= 0.0 (+ (* (- 1.0) x5 x5) (* x3 x9))))
(assert
 (<= 0.0 (+ (* (- 1.0) x2 x2) (* x1 x3))))
(assert
 (let ((?x687 (* (- 1.0) x6 x6 x7 x7)))
 (<= 0.0 (+ (* x1 x3 x7 x7) ?x687 (* (- 1.0) x1 x3 x8)))))
(assert
 (<= 0.0 (+ (* (- 1.0) x4 x4) (* x1 x9))))
(assert
 (let ((?x825 (+ (* x1 x7 x7 x9) (* (- 1.0) x7 x7 x10 x10) (* (- 1.0) x1 x8 x9))))
 (<= 0.0 ?x825)))
(assert
 (let ((?x1172 (+ (* x7 x7) (* (- 1.0) x8))))
 (<= 0.0 ?x1172)))
(assert
 (let ((?x1172 (+ (* x7 x7) (* (- 1.0) x8))))
 (<= 0.0 ?x1172)))
(assert
 (and (distinct 0.0 (+ x1 (* (- 2.0) x2) (* 2.0 x3))) true))
(assert
 (and (distinct 0.0 x3) true))
(assert
 (< 0.0 x1))
(assert
 (<= 0.0 x3))
(assert
 (< 0.0 x7))
(assert
 (<= 0.0 x8))
(assert
 (<= 0.0 x9))
(check-sat)
