(set-logic QF_NRA)
(declare-fun d_2 () Real)
(declare-fun d_1 () Real)
(declare-fun gamma () Real)
(declare-fun m () Real)
(assert
 (and (= 0.0 (* (- 1.0) d_1)) (= 0.0 (* (- 1.0) d_2))))
(assert
 (let (($x135 (or (< 0.0 (* gamma d_2)) (< 0.0 (* (- 1.0) gamma d_2)))))
 (let (($x161 (or (< 0.0 (* gamma d_1)) (< 0.0 (* (- 1.0) gamma d_1)))))
 (or (or $x161 $x135) false false))))
(assert
 (let ((?x468 (+ m (- 2.0))))
(<= 0.0 ?x468)))
(check-sat)
